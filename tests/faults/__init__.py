"""Whatever is killed, broken, sent or pressed, nothing is lost and nothing silently wrong."""
