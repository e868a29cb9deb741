"""The Engine API's wire types, by noun, and the codecs that go with them: data only, no I/O."""
