"""What each node does, in a few words for the log."""

NODES = {
    "describe_hardware": "looks at this machine",
    "estimate_resources": "estimates memory and disk",
    "make_policy_family": "lists the policies",
    "fetch_initial_policy": "fetches the weights to begin with, if any",
    "make_env_spec": "looks at the game",
    "make_run_record": "writes down what the run is",
    "collect_seed_replay": "plays the untrained agent, to begin the replay",
    "learn": "trains the agent",
    "distill_student": "trains the student on the teacher",
    "play_episodes": "plays the episodes that are scored",
    "score_episodes": "computes the scores",
    "film_episode": "films an episode",
    "make_plots": "draws the figures",
    "make_report": "writes the page",
    "register_policies": "registers the policies",
    "show_summary": "shows the result",
    "run_study": "works on the trials",
    "compare": "compares the best trial on fresh seeds",
    "make_study_plots": "draws the figures and writes the page",
    "write_environment": "writes the tuned environment",
    "show_study": "shows the result",
    "run_members": "runs the members",
    "tabulate": "computes the scores of the suite",
    "make_suite_plots": "draws the figures and writes the page",
    "check_members": "says how the suite went",
}


def node_line(name: str, number: int, total: int, estimate: str | None = None) -> str:
    """Return the log line of a node: `[8/16] learn: trains the agent (about 9 min)`."""
    words = f": {NODES[name]}" if name in NODES else ""
    return f"[{number}/{total}] {name}{words}{f' ({estimate})' if estimate else ''}"
