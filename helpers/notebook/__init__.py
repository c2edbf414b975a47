"""What every notebook shares: set-up, parameters, exercises, figures, drawing pad."""
