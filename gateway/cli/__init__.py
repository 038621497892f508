"""`conduitctl`: what plant engineers type. It asks the control socket; it never touches kernel or files in force itself."""
