"""Property tests here are bounded by pytest's timeout, not by hypothesis' clock: the machine may be busy."""

from hypothesis import settings

settings.register_profile("sdk", deadline=None, print_blob=True)
settings.load_profile("sdk")
