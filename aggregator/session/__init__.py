"""One conversation with an exchange, without the connection: no I/O and no clock; time is an argument."""
