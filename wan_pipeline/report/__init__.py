"""What people look at: thumbnails, the contact sheet, the gallery page. Reads, never buys."""
