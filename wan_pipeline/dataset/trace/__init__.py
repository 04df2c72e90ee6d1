"""From an image, a prompt, a request or a task to everything that belongs to it, and back."""
