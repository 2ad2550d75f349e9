"""The root handler that AWS's runtime gives `logging`: text lines with level, time and request id, or JSON records."""

import os

as_json = None


def attach(logging, write, current):
    """Puts the handler on the root logger. Called in the moment `logging` has been imported."""
    import time

    logging.Formatter.converter = time.gmtime

    class RequestId(logging.Filter):
        def filter(self, record):
            record.aws_request_id = current.request_id or ""
            return True

    class Handler(logging.Handler):
        def emit(self, record):
            try:
                write(self.format(record))
            except Exception:
                self.handleError(record)

    standard = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
    standard |= {"message", "asctime", "aws_request_id", "taskName"}

    class Json(logging.Formatter):
        def format(self, record):
            import json

            error = record.exc_info
            known = error and error[0] is not None
            message = record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage()
            fields = {
                "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
                "level": record.levelname,
                "message": message,
                "logger": record.name,
                "stackTrace": trace(error[2]) if known else None,
                "errorType": error[0].__name__ if known else None,
                "errorMessage": str(error[1]) if known else None,
                "requestId": record.aws_request_id,
                "location": "%s:%s:%s" % (record.pathname, record.funcName, record.lineno) if known else None,
            }
            for name, value in record.__dict__.items():
                if name not in standard and name not in fields:
                    fields[name] = value
            fields = {name: value for name, value in fields.items() if value is not None}
            return json.dumps(fields, default=str, ensure_ascii=False) + "\n"

    def trace(frames):
        import traceback

        return traceback.format_tb(frames)

    handler = Handler()
    pattern = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
    handler.setFormatter(logging.Formatter(pattern, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(RequestId())
    logging.getLogger().addHandler(handler)
    global as_json
    as_json = lambda: handler.setFormatter(Json())


def adjust(logging):
    """Writes as the function's variables say."""
    if (os.environ.get("AWS_LAMBDA_LOG_FORMAT") or "").upper() == "JSON":
        as_json()
    level = (os.environ.get("AWS_LAMBDA_LOG_LEVEL") or "").upper()
    level = "DEBUG" if level == "TRACE" else level
    if level and isinstance(logging.getLevelName(level), int):
        logging.getLogger().setLevel(level)
