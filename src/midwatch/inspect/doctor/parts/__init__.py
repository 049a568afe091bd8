"""What several checks share: names for who is meant, descriptors, commands taken apart, crash reports."""
