"""Where records come from beside exchanges: other daemons, whose records are passed on."""
