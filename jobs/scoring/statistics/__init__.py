"""What scores are worth: intervals over patients, calibration, groups of patients, doubtful labels."""
