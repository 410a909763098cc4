"""Deployment with Flower: the app folder, the certificates, and the processes around both apps."""
