//! AWS Lambda: functions, versions, aliases, invocations, function URLs.
