"""What was bought, kept: images verified and stored, and the tables that describe them."""
