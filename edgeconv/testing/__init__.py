"""What authors of plugins test with: tiny converters without any framework, and hostile ones."""
