"""What holds for every test."""

from hypothesis import settings

# A busy machine makes an example slow, not wrong.
settings.register_profile("lakemill", parent=settings(), deadline=None)
settings.load_profile("lakemill")
