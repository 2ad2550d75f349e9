"""The function of which templates rehearse the import."""


def handler(event, context):
    """Answers its event."""
    return event
