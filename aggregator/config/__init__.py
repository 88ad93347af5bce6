"""The configuration: read, checked as a whole, and handed on as plain frozen values."""
