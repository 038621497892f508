"""`conduitctl`: what plant engineers type. It asks the control socket and never touches what is in force itself."""
