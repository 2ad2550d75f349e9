"""The `context` of Python functions, attribute by attribute that of AWS's runtime."""

import os
import time


class Client:
    """The app that called, as it described itself."""

    __slots__ = ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"]


class ClientContext:
    """What a caller passed as its client context."""

    __slots__ = ["custom", "env", "client"]


class CognitoIdentity:
    """The Cognito identity that authorised the request, if any."""

    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]


def _object(kind, fields):
    if fields is None:
        return None
    made = kind()
    for name in kind.__slots__:
        setattr(made, name, fields.get(name))
    return made


class Context:
    """What a handler is given beside its event."""

    def __init__(self, about, client, identity, write):
        variables = os.environ
        self.aws_request_id = about["request_id"]
        self.log_group_name = variables.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = variables.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = variables.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = variables.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = variables.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = about["arn"]
        self.tenant_id = None
        self.client_context = _object(ClientContext, client)
        if self.client_context is not None:
            self.client_context.client = _object(Client, self.client_context.client)
        self.identity = _object(CognitoIdentity, {})
        if identity is not None:
            self.identity.cognito_identity_id = identity.get("cognitoIdentityId")
            self.identity.cognito_identity_pool_id = identity.get("cognitoIdentityPoolId")
        self._epoch_deadline_time_in_ms = about["deadline_ms"]
        self._write = write

    def get_remaining_time_in_millis(self):
        """Milliseconds until the function is stopped, never below zero."""
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def log(self, message):
        """Writes one log record."""
        self._write(str(message))

    def __repr__(self):
        names = (
            "aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version "
            "invoked_function_arn client_context identity tenant_id"
        )
        fields = ",".join("%s=%s" % (name, getattr(self, name)) for name in names.split())
        return "LambdaContext([%s])" % fields


Context.__name__ = Context.__qualname__ = "LambdaContext"
