-- The verbs of sessions, and who may have items of which.
--
-- Laws: a session belongs to one worker at a time, and whoever claims it while its lease runs is refused; what a worker
-- has is changed by one at a time, or two of its own calls would claim more than it may have; rows of sessions are
-- locked in the order of their keys.

-- What stands for a session in its index.
CREATE FUNCTION digest_of(_session text) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(_session, 'UTF8'))
$$;

-- Wait until nobody else changes what a worker has.
CREATE FUNCTION own_sessions(_worker text) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('trioflow/sessions/' || _worker, 0))
$$;

-- Claim sessions that nobody has for a worker, those named first as far as it may have more, and lock all that it has:
-- until the end nobody else can have them. Whether somebody else claimed one at the same moment.
CREATE FUNCTION claim_sessions(_named text[], _doc jsonb, _now float8) RETURNS boolean LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _worker text := _doc ->> 'worker';
    _until float8 := _now + (_doc -> 'sessions' ->> 'lease')::float8;
    _sessions text[];
    _own integer;
    _given integer;
BEGIN
    PERFORM own_sessions(_worker);
    _sessions := ARRAY(SELECT s.session FROM session s WHERE s.worker = _worker AND s.until > _now);
    _own := cardinality(_sessions);
    _sessions := _sessions || ARRAY(
        SELECT u.session FROM unnest(_named) WITH ORDINALITY AS u (session, n)
        WHERE u.session <> ALL (_sessions)
        GROUP BY u.session
        ORDER BY min(u.n)
        LIMIT greatest((_doc -> 'sessions' ->> 'limit')::bigint - _own, 0)
    );
    WITH given AS (
        INSERT INTO session AS s (digest, session, worker, until, used_at)
        SELECT digest_of(u.session), u.session, _worker, _until, _now FROM unnest(_sessions) u (session)
        ORDER BY 1
        ON CONFLICT (digest) DO UPDATE SET
            worker = _worker,
            until = CASE WHEN s.worker = _worker AND s.until > _now THEN s.until ELSE _until END,
            used_at = CASE WHEN s.worker = _worker AND s.until > _now THEN s.used_at ELSE _now END
        WHERE s.worker = _worker OR s.until <= _now
        RETURNING s.digest
    )
    SELECT count(*) INTO _given FROM given;
    RETURN _given < cardinality(_sessions);
END
$$;

-- The holders of items have used the items' sessions, if they still have those.
CREATE FUNCTION note_use(_held held_items, _now float8) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM session s
    JOIN unnest(_held.sessions, _held.workers) u (session, worker)
        ON s.digest = digest_of(u.session) AND s.worker = u.worker
    ORDER BY s.digest
    FOR NO KEY UPDATE OF s;
    UPDATE session s SET used_at = _now
    FROM unnest(_held.sessions, _held.workers) u (session, worker)
    WHERE s.digest = digest_of(u.session) AND s.worker = u.worker;
END
$$;

-- A worker leaves a session to others, if it has that.
CREATE FUNCTION leave_session(_session text, _worker text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM own_sessions(_worker);
    DELETE FROM session s WHERE s.digest = digest_of(_session) AND s.worker = _worker;
END
$$;

-- Hold sessions for longer; give idle ones back.
CREATE FUNCTION renew_sessions(_doc jsonb, OUT held text[], OUT freed boolean) LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _worker text := _doc ->> 'worker';
BEGIN
    PERFORM own_sessions(_worker);
    PERFORM FROM session s WHERE s.worker = _worker ORDER BY s.digest FOR UPDATE;
    DELETE FROM session s WHERE s.worker = _worker AND _now - s.used_at >= (_doc ->> 'idle')::float8;
    freed := FOUND;
    WITH renewed AS (
        UPDATE session s SET until = _now + (_doc ->> 'lease')::float8 WHERE s.worker = _worker RETURNING s.session
    )
    SELECT coalesce(array_agg(r.session ORDER BY r.session), '{}') INTO held FROM renewed r;
END
$$;

-- Give all sessions of a worker back. Whether there were any.
CREATE FUNCTION release_sessions(_worker text) RETURNS boolean LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM own_sessions(_worker);
    PERFORM FROM session s WHERE s.worker = _worker ORDER BY s.digest FOR UPDATE;
    DELETE FROM session s WHERE s.worker = _worker;
    RETURN FOUND;
END
$$;
