"""Views of images and volumes: geometry, intensities, presets by modality."""
