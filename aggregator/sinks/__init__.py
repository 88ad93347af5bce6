"""Where the stream goes: each sink is a settings struct and one coroutine that writes until its stream ends."""
