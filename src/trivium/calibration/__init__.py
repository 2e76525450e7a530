"""Confidence in answers."""

from trivium.calibration.calibration import Calibration as Calibration
