"""PettingZoo environments under attack: `parallel`, where agents act together, and `aec`, in turns."""
