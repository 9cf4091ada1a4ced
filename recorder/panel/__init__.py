"""The panel: buttons, lights, buzzer and vibration of a device, in a process of its own."""
