"""One HTTP exchange at a time: client, dialects, errors, retry rules, provider profiles."""
