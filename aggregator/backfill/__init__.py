"""The past of a market, asked for by REST and written as the `files` sink writes what it hears."""
