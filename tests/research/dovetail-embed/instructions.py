"""Instructions by task, as they were in training."""
TASKS = {
    "retrieval": "Given a question, retrieve passages that answer it",
    "similarity": "Retrieve sentences that mean the same",
    "classification": "Say what the text is about",
    "clustering": "Find the subject of the text",
}


def instruction(task: str) -> str:
    return f"Instruct: {TASKS[task]}\nQuery: "
