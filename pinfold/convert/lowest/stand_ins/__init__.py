"""Stand-ins for transformers' helpers that came late, changed or went: imports.py copies their source into a folder.

Each is called what it is called in transformers, and needs only what every release from 4.48 on has. Nothing of these
files is run by the converter. Two rules: no name of a helper that a model's file could have (they are copied side by
side), and the numbers of the newest release, so that all releases give them. They are copied in the order in which
they stand here: rotary.py, caches.py, forward.py.
"""
