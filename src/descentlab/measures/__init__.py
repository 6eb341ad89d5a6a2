"""What is measured on runs that are looked at again: certificates, curvature, landscapes."""
