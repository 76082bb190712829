"""The control side: builds, submits and watches workflows. Never imports torch."""
