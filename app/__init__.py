"""What people reach: the service, the command line, the web page."""
