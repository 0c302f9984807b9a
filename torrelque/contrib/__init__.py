"""What joins torrelque to frameworks, a package each.  Each needs its framework, and nothing else imports it."""
