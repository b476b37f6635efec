"""The client software: what runs on a subscriber's own computer and speaks only the REST API."""
