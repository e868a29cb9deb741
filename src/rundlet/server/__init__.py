"""The Engine API over HTTP: parse a request, call a backend, encode the answer. No other logic lives here."""
