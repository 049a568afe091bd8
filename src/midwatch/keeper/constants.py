"""Names and numbers that keeper and engine share. No imports, so that both sides can afford it."""

PROTOCOL = 1
FD_VARIABLE = "MIDWATCH_KEEPER_FD"
MAX_FRAME = 8 << 20  # bytes; also the most we hold for an engine that does not read
GATE_EXIT = 125  # what a gate ends with when it is dropped or the keeper is gone
GATE_FD = 9  # dash only takes one digit in `<&N`; this number is kept occupied so that it is always ours
STRAYS_MAX = 1000  # pids named in one exited frame
SIGNALS_MAX = 16  # signals kept while no engine is there
ENGINE_YOUNG = 10.0  # s; an engine that dies younger than this makes the pause before the next one grow
ENGINE_PAUSE_MAX = 5.0  # s
ENGINE_UNBORN = 5  # deaths before any engine ever spoke: nothing is kept alive, so ending is the truth
ENGINE_MUTE = 5.0  # s from a closed link to SIGKILL: an engine without a link can do nothing useful
FLUSH_MAX = 2.0  # s the last bytes may take at the end
