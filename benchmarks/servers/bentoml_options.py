"""Options of the BentoML services that are measured beside this one."""

OPTIONS = {
    "workers": 1,
    "traffic": {"timeout": 60},
    # Without these BentoML's client cuts requests off whenever it opens a new session, after every hundred.
    "runner_connection": {"max_requests": 2**31, "max_age": 1e9},
    "logging": {"access": {"enabled": False}},
    "metrics": {"enabled": False},
}
