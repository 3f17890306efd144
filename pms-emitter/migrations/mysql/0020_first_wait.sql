-- first_delay_ms is the wait before the first attempt, or -1: that of the service. It was written for the environment's endpoint alone.
UPDATE endpoints SET first_delay_ms = CASE
    WHEN JSON_TYPE(JSON_EXTRACT(settings, '$.retry_schedule')) = 'ARRAY' THEN JSON_EXTRACT(settings, '$.retry_schedule[0]') * 1000
    WHEN JSON_UNQUOTE(JSON_EXTRACT(settings, '$.scheme')) = 'powalyze' THEN 1000
    WHEN JSON_UNQUOTE(JSON_EXTRACT(settings, '$.scheme')) IN ('lokroom', 'chatbot') THEN 0
    ELSE -1 END
WHERE settings IS NOT NULL;
