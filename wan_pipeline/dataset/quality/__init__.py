"""What can be measured of stored images, and what that says: hashes, near duplicates, flags."""
