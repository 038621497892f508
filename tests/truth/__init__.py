"""Messages as our inspectors read them beside Wireshark's: `make truth`."""
