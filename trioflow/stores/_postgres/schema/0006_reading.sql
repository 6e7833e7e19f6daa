-- The verbs of reading. Law: what one call shows is one committed moment.

CREATE TYPE instance_record AS (
    instance text, execution bigint, name text, version text, state text, revision bigint, parent text,
    attributes jsonb, created_at float8, updated_at float8, ended_at float8, wake_at float8, history_length bigint,
    history_bytes bigint, unread integer, unread_bytes bigint, queued bigint, control_queued boolean, cancel_queued boolean, status bytea,
    event_id bigint, event_at float8, event_kind text, event_data bytea, event_payload bytea
);

CREATE FUNCTION read_instance(_instance text) RETURNS SETOF instance_record LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
    SELECT i.instance, i.execution, i.name, i.version, i.state, i.revision, i.parent, i.attributes, i.created_at,
           i.updated_at, i.ended_at, i.wake_at, i.history_length, i.history_bytes, i.unread, i.unread_bytes, m.queued,
           NOT ended(i.state) AND control_at(i.instance, i.execution) IS NOT NULL, m.cancel, i.status, e.id, e.at, e.kind, e.data, e.payload
    FROM instance i
    CROSS JOIN LATERAL (
        SELECT count(*) AS queued, coalesce(bool_or(m.kind = 'CancelRequested'), false) AS cancel
        FROM message m
        WHERE m.instance = i.instance AND (m.execution IS NULL OR m.execution = i.execution) AND NOT ended(i.state)
    ) m
    LEFT JOIN event e ON e.instance = i.instance AND e.execution = i.execution AND e.id = i.history_length
        AND (ended(i.state) OR i.state = 'parked')
    WHERE i.instance = _instance
$$;

CREATE FUNCTION read_history(_instance text, _execution bigint, _after bigint, _limit bigint) RETURNS TABLE (
    id bigint, at float8, kind text, data bytea, payload bytea
) LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT e.id, e.at, e.kind, e.data, e.payload FROM event e
    WHERE e.instance = _instance AND e.execution = _execution AND e.id > _after
    ORDER BY e.id LIMIT _limit
$$;

CREATE FUNCTION read_kv(_instance text) RETURNS TABLE (key text, value bytea) LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
    SELECT v.key, v.value FROM kv v WHERE v.instance = _instance ORDER BY v.key
$$;
