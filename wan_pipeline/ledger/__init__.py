"""The durable record of what was intended, submitted, paid, received and stored."""
