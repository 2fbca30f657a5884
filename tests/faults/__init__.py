"""The promise as a machine: whatever is killed, broken, sent or pressed, nothing is lost or wrong."""
