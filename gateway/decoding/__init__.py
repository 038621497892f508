"""Messages out of captures, by the code that reads them on the wire."""
