-- The verbs of activities: lock, settle, release, renew, cancel.
--
-- Laws: an item and its outcome are one row, so exactly one outcome is ever posted; an item marked as cancelled is never
-- handed out again: it ends with its holder, or is found when the lease has run out and posted as lost; whoever holds an
-- instance's row may wait for its items, and whoever holds items for sessions, but nobody the other way round.

-- Take away cancelled items whose holders let their leases run out, and items that nobody began in time. The instances
-- that were told.
CREATE FUNCTION sweep(_now float8) RETURNS text[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- Not EXISTS: for a time that is not known when it is planned, PostgreSQL would guess that a look at all is quicker.
    IF (SELECT min(a.due_at) FROM activity a WHERE a.cancelled) <= _now OR (
        SELECT min(a.start_by) FROM activity a
        WHERE a.start_by IS NOT NULL AND a.lock_token IS NULL AND NOT a.cancelled
    ) <= _now THEN
        RETURN deliver(sweep_cancelled(_now) || sweep_late(_now), _now);
    END IF;
    RETURN '{}';
END
$$;

CREATE FUNCTION sweep_cancelled(_now float8) RETURNS letter[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _letters letter[];
BEGIN
    WITH due AS (
        SELECT a.instance, a.execution, a.event_id FROM activity a
        WHERE a.cancelled AND a.due_at <= _now
        ORDER BY a.due_at, a.event_id, a.instance, a.execution
        LIMIT 1000
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM activity a USING due d
        WHERE a.instance = d.instance AND a.execution = d.execution AND a.event_id = d.event_id
        RETURNING a.*
    )
    SELECT array_agg(activity_cancelled(g.instance, g.execution, g.event_id, 'lost')
                     ORDER BY g.due_at, g.event_id, g.instance, g.execution)
    INTO _letters FROM gone g;
    RETURN _letters;
END
$$;

CREATE FUNCTION sweep_late(_now float8) RETURNS letter[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _letters letter[];
BEGIN
    WITH due AS (
        SELECT a.instance, a.execution, a.event_id FROM activity a
        WHERE a.start_by IS NOT NULL AND a.lock_token IS NULL AND NOT a.cancelled AND a.start_by <= _now
        ORDER BY a.start_by, a.event_id, a.instance, a.execution
        LIMIT 1000
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM activity a USING due d
        WHERE a.instance = d.instance AND a.execution = d.execution AND a.event_id = d.event_id
        RETURNING a.*
    )
    SELECT array_agg(ROW(g.instance, g.execution, NULL, false, false, g.late_kind, g.late_data, NULL)::letter
                     ORDER BY g.start_by, g.event_id, g.instance, g.execution)
    INTO _letters FROM gone g;
    RETURN _letters;
END
$$;

CREATE TYPE locked_activity AS (
    instance        text,
    execution       bigint,
    event_id        bigint,
    token           text,
    name            text,
    tag             text,
    session         text,
    attempt         integer,
    failures        integer,
    fetches         integer,
    scheduled_at    float8,
    heartbeat       bytea,
    data            bytea,
    payload         bytea
);

-- Whether a worker with these tags takes an item; null tags mean every tag.
CREATE FUNCTION takes(_tag text, _untagged boolean, _tags text[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN _tag IS NULL THEN _untagged ELSE _tags IS NULL OR _tag = ANY (_tags) END
$$;

-- Lease items whose time has come, of no session or of those that are wanted: the worker's "own", or "any" that nobody
-- else has. Where any is wanted and some have one, nothing is leased yet: those are named instead, in order.
CREATE FUNCTION take_items(
    _doc jsonb, _wanted text, _now float8, OUT activities locked_activity[], OUT sessions text[]
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _worker text := _doc ->> 'worker';
    _nobody text := CASE _wanted WHEN 'any' THEN _worker END;
    _untagged boolean := (_doc ->> 'untagged')::boolean;
    _tags text[] := CASE WHEN _doc ? 'tags' THEN ARRAY(SELECT jsonb_array_elements_text(_doc -> 'tags')) END;
    _but text[] := ARRAY(SELECT jsonb_array_elements_text(_doc -> 'but'));
BEGIN
    WITH due AS (
        SELECT d.*, row_number() OVER () AS n FROM (
            SELECT a.instance, a.execution, a.event_id, a.session FROM activity a
            WHERE NOT a.cancelled AND a.due_at <= _now AND takes(a.tag, _untagged, _tags) AND a.name <> ALL (_but)
                AND (a.session IS NULL OR _wanted <> 'none' AND _worker = coalesce(
                    (SELECT s.worker FROM session s WHERE s.digest = digest_of(a.session) AND s.until > _now), _nobody
                ))
            ORDER BY a.due_at, a.event_id, a.instance, a.execution
            LIMIT (_doc ->> 'limit')::bigint
            FOR NO KEY UPDATE SKIP LOCKED
        ) d
    ), named AS (
        SELECT array_agg(d.session ORDER BY d.n) FILTER (WHERE d.session IS NOT NULL) AS sessions
        FROM due d WHERE _wanted = 'any'
    ), leased AS (
        UPDATE activity a SET
            lock_token = new_token(_doc ->> 'token', _now, d.n), lock_worker = _worker,
            due_at = _now + (_doc ->> 'lease')::float8, attempt = a.attempt + 1, fetches = a.fetches + 1,
            start_by = CASE WHEN a.lock_token IS NULL THEN a.start_by END  -- else its last holder has begun it and died
        FROM due d
        WHERE a.instance = d.instance AND a.execution = d.execution AND a.event_id = d.event_id
            AND (SELECT n.sessions FROM named n) IS NULL
        RETURNING a.*, d.n
    )
    SELECT array_agg(
        ROW(l.instance, l.execution, l.event_id, l.lock_token, l.name, l.tag, l.session, l.attempt, l.failures,
            l.fetches, l.scheduled_at, l.heartbeat, l.data, l.payload)::locked_activity
        ORDER BY l.n
    ), (SELECT n.sessions FROM named n) INTO activities, sessions FROM leased l;
END
$$;

-- Whether there are items of sessions that a worker may have, and that somebody has in hand, who may not have them.
-- Sessions are only looked at if there are any such items.
CREATE FUNCTION hides_items(_worker text, _untagged boolean, _tags text[], _but text[], _now float8) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM activity a
        WHERE NOT a.cancelled AND a.due_at <= _now AND takes(a.tag, _untagged, _tags) AND a.session IS NOT NULL
    ) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM activity a LEFT JOIN session s ON s.digest = digest_of(a.session) AND s.until > _now
        WHERE NOT a.cancelled AND a.due_at <= _now AND takes(a.tag, _untagged, _tags) AND a.session IS NOT NULL
            AND a.name <> ALL (_but) AND coalesce(s.worker, _worker) = _worker
    );
END
$$;

-- Lease items whose time has come. `next_due` is when to ask again.
CREATE FUNCTION lock_activities(
    _doc jsonb, OUT now float8, OUT next_due float8, OUT reached text[], OUT activities locked_activity[]
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _untagged boolean := (_doc ->> 'untagged')::boolean;
    _tags text[] := CASE WHEN _doc ? 'tags' THEN ARRAY(SELECT jsonb_array_elements_text(_doc -> 'tags')) END;
    _but text[] := ARRAY(SELECT jsonb_array_elements_text(_doc -> 'but'));
    _claims boolean := _doc ? 'sessions';
    _named text[];
    _overtaken boolean := false;
BEGIN
    reached := sweep(_now);
    SELECT t.activities, t.sessions INTO activities, _named
    FROM take_items(_doc, CASE WHEN _claims THEN 'any' ELSE 'none' END, _now) t;
    IF _named IS NOT NULL THEN
        _overtaken := claim_sessions(_named, _doc, _now);
        activities := (take_items(_doc, 'own', _now)).activities;
        UPDATE session s SET used_at = _now FROM unnest(activities) a
        WHERE a.session IS NOT NULL AND s.digest = digest_of(a.session);
    END IF;
    next_due := least(
        (SELECT min(a.start_by) FROM activity a
         WHERE a.start_by > _now AND a.lock_token IS NULL AND NOT a.cancelled),
        CASE WHEN _claims THEN (SELECT min(s.until) FROM session s WHERE s.until > _now) END,
        CASE
            WHEN _overtaken
                OR _claims AND _named IS NULL AND coalesce(cardinality(activities), 0) < (_doc ->> 'limit')::bigint
                AND hides_items(_doc ->> 'worker', _untagged, _tags, _but, _now)
            THEN _now + 0.005
        END
    );
    IF cardinality(_but) = 0 THEN  -- as a rule; the plan of the other is made anew each time
        next_due := least(next_due, (
            SELECT min(a.due_at) FROM activity a
            WHERE NOT a.cancelled AND a.due_at > _now AND takes(a.tag, _untagged, _tags)
        ));
    ELSE
        next_due := least(next_due, (
            SELECT min(a.due_at) FROM activity a
            WHERE NOT a.cancelled AND a.due_at > _now AND takes(a.tag, _untagged, _tags) AND a.name <> ALL (_but)
        ));
    END IF;
    now := _now;
END
$$;

-- Lock the items that are still held under their tokens.
CREATE FUNCTION hold_items(_locks jsonb) RETURNS held_items LANGUAGE sql VOLATILE
SET search_path FROM CURRENT AS $$
    SELECT ROW(coalesce(array_agg(h.n), '{}'), array_agg(h.session) FILTER (WHERE h.session IS NOT NULL),
               array_agg(h.lock_worker) FILTER (WHERE h.session IS NOT NULL))::held_items
    FROM (
        SELECT l.n::integer AS n, a.session, a.lock_worker
        FROM ROWS FROM (jsonb_to_recordset(_locks)
                        AS (instance text, execution bigint, event_id bigint, token text))
            WITH ORDINALITY AS l (instance, execution, event_id, token, n)
        JOIN activity a ON a.instance = l.instance AND a.execution = l.execution AND a.event_id = l.event_id
            AND a.lock_token = l.token
        ORDER BY a.instance, a.execution, a.event_id
        FOR UPDATE OF a
    ) h
$$;

-- Settle items that are held: remove each and post its outcome, or keep it for another attempt.
CREATE FUNCTION settle_items(
    _settle jsonb, _held held_items, _data bytea[], _payloads bytea[], _options bytea[], _now float8,
    OUT reached text[], OUT retried boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _letters letter[];
BEGIN
    IF _held.sessions IS NOT NULL THEN
        PERFORM note_use(_held, _now);
    END IF;
    WITH asked AS (
        SELECT * FROM ROWS FROM (
            jsonb_to_recordset(_settle)
                AS (instance text, execution bigint, event_id bigint, token text, retry_in float8, kind text),
            unnest(_data), unnest(_payloads), unnest(_options)
        ) WITH ORDINALITY
            AS s (instance, execution, event_id, token, retry_in, kind, data, payload, options, n)
        WHERE s.n = ANY (_held.places)
    ), again AS (
        UPDATE activity a SET
            failures = a.failures + 1, fetches = 0, lock_token = NULL, lock_worker = NULL, due_at = _now + s.retry_in,
            start_by = NULL, data = coalesce(s.options, a.data)
        FROM asked s
        WHERE a.instance = s.instance AND a.execution = s.execution AND a.event_id = s.event_id
            AND s.retry_in IS NOT NULL AND NOT a.cancelled
        RETURNING true
    ), gone AS (
        DELETE FROM activity a USING asked s
        WHERE a.instance = s.instance AND a.execution = s.execution AND a.event_id = s.event_id
            AND (s.retry_in IS NULL OR a.cancelled)
        RETURNING s.*
    )
    SELECT array_agg(
        CASE WHEN g.retry_in IS NOT NULL  -- no retry starts after the mark
            THEN activity_cancelled(g.instance, g.execution, g.event_id, 'ended')
            ELSE ROW(g.instance, g.execution, NULL, false, false, g.kind, g.data, g.payload)::letter
        END ORDER BY g.n
    ), EXISTS (SELECT FROM again) INTO _letters, retried
    FROM gone g WHERE g.kind IS NOT NULL OR g.retry_in IS NOT NULL;
    reached := deliver(_letters, _now);
END
$$;

-- Settle attempts, each for itself. `lost`: places in the list, from 0.
CREATE FUNCTION commit_activities(
    _doc jsonb, _data bytea[], _payloads bytea[], _options bytea[],
    OUT now float8, OUT lost integer[], OUT reached text[], OUT retried boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _held held_items := hold_items(_doc -> 'settle');
BEGIN
    SELECT s.reached, s.retried INTO reached, retried
    FROM settle_items(_doc -> 'settle', _held, _data, _payloads, _options, _now) s;
    now := _now;
    lost := '{}';
    IF cardinality(_held.places) < jsonb_array_length(_doc -> 'settle') THEN
        SELECT coalesce(array_agg(l.n - 1 ORDER BY l.n), '{}') INTO lost
        FROM ROWS FROM (jsonb_to_recordset(_doc -> 'settle') AS (instance text, token text))
            WITH ORDINALITY AS l (instance, token, n)
        WHERE l.n <> ALL (_held.places)
            AND NOT EXISTS (SELECT FROM settled s WHERE s.instance = l.instance AND s.token = l.token);
    END IF;
    INSERT INTO settled (instance, token, at)
    SELECT l.instance, l.token, _now
    FROM ROWS FROM (jsonb_to_recordset(_doc -> 'settle') AS (instance text, token text))
        WITH ORDINALITY AS l (instance, token, n)
    WHERE l.n = ANY (_held.places)
    ON CONFLICT DO NOTHING;
END
$$;

-- Give an attempt back unrun.
CREATE FUNCTION release_activity(_doc jsonb, OUT reached text[], OUT freed boolean) LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _clean integer := (_doc ->> 'clean')::boolean::integer;
    _a activity;
BEGIN
    freed := false;
    SELECT * INTO _a FROM activity a
    WHERE a.instance = _doc ->> 'instance' AND a.execution = (_doc ->> 'execution')::bigint
        AND a.event_id = (_doc ->> 'event_id')::bigint AND a.lock_token = _doc ->> 'token'
    FOR UPDATE;
    IF _a.instance IS NULL THEN
        RETURN;
    ELSIF _a.cancelled THEN
        DELETE FROM activity a
        WHERE a.instance = _a.instance AND a.execution = _a.execution AND a.event_id = _a.event_id;
        reached := deliver(
            ARRAY[activity_cancelled(_a.instance, _a.execution, _a.event_id, 'never_started')], _now
        );
        RETURN;
    END IF;
    IF (_doc ->> 'leave')::boolean AND _a.session IS NOT NULL THEN
        PERFORM leave_session(_a.session, _a.lock_worker);
    END IF;
    UPDATE activity a SET lock_token = NULL, lock_worker = NULL, due_at = _now + (_doc ->> 'delay')::float8,
        attempt = a.attempt - _clean, fetches = a.fetches * (1 - _clean)
    WHERE a.instance = _a.instance AND a.execution = _a.execution AND a.event_id = _a.event_id;
    freed := true;
END
$$;

-- Hold locks for longer, keep heartbeats, hear of cancellations. Places in the list, from 0.
CREATE FUNCTION renew_activities(_doc jsonb, _heartbeats bytea[], OUT lost integer[], OUT cancelled integer[])
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _until float8 := _now + (_doc ->> 'lease')::float8;
    _held held_items := hold_items(_doc -> 'locks');
BEGIN
    IF _held.sessions IS NOT NULL THEN
        PERFORM note_use(_held, _now);
    END IF;
    WITH renewed AS (
        UPDATE activity a SET due_at = _until, heartbeat = coalesce(l.heartbeat, a.heartbeat)
        FROM ROWS FROM (jsonb_to_recordset(_doc -> 'locks') AS (instance text, execution bigint, event_id bigint),
                        unnest(_heartbeats))
            WITH ORDINALITY AS l (instance, execution, event_id, heartbeat, n)
        WHERE a.instance = l.instance AND a.execution = l.execution AND a.event_id = l.event_id
            AND l.n = ANY (_held.places)
        RETURNING l.n::integer - 1 AS place, a.cancelled
    )
    SELECT coalesce(array_agg(r.place ORDER BY r.place) FILTER (WHERE r.cancelled), '{}') INTO cancelled FROM renewed r;
    lost := ARRAY(
        SELECT n - 1 FROM generate_series(1, jsonb_array_length(_doc -> 'locks')) n WHERE n <> ALL (_held.places)
    );
END
$$;

-- The items that a commit cancels, in its order, where they are still there.
CREATE FUNCTION named_items(_doc jsonb, _instance text, _execution bigint) RETURNS SETOF activity LANGUAGE sql VOLATILE
SET search_path FROM CURRENT AS $$
    SELECT a.* FROM activity a
    LEFT JOIN jsonb_array_elements_text(_doc -> 'cancels') WITH ORDINALITY AS c (event_id, n)
        ON c.event_id::bigint = a.event_id
    WHERE a.instance = _instance AND a.execution = _execution AND (_doc ? 'cancel_all' OR c.n IS NOT NULL)
    ORDER BY c.n, a.event_id
$$;

-- Lock what a turn settles and what it cancels, all in the order of their keys: whoever renews them does so, too.
CREATE FUNCTION lock_items(_doc jsonb, _done bigint[], _instance text, _execution bigint) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM activity a
    WHERE a.instance = _instance AND a.execution = _execution
        AND (_doc ? 'cancel_all'
             OR a.event_id = ANY (ARRAY(SELECT jsonb_array_elements_text(_doc -> 'cancels')::bigint))
             OR a.event_id = ANY (_done)
             OR a.event_id = ANY (ARRAY(
                 SELECT (s ->> 'event_id')::bigint FROM jsonb_array_elements(_doc -> 'settle') s
             )))
    ORDER BY a.event_id
    FOR UPDATE;
END
$$;

-- Remove items of an execution whose outcomes its own turn tells, if all are held under their tokens; else the place of
-- the first that is not, from 0. One alone is looked at and removed in one; of several each is held before any goes.
CREATE FUNCTION remove_items(
    _instance text, _execution bigint, _ids bigint[], _tokens text[], _now float8
) RETURNS integer LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _held held_items;
BEGIN
    IF cardinality(_ids) = 1 THEN
        DELETE FROM activity a
        WHERE a.instance = _instance AND a.execution = _execution AND a.event_id = _ids[1] AND a.lock_token = _tokens[1]
        RETURNING ARRAY[1], CASE WHEN a.session IS NOT NULL THEN ARRAY[a.session] END, ARRAY[a.lock_worker] INTO _held;
    ELSE
        SELECT array_agg(h.place), array_agg(h.session) FILTER (WHERE h.session IS NOT NULL),
               array_agg(h.lock_worker) FILTER (WHERE h.session IS NOT NULL)
        INTO _held FROM (
            SELECT array_position(_ids, a.event_id) AS place, a.session, a.lock_worker FROM activity a
            WHERE a.instance = _instance AND a.execution = _execution AND a.event_id = ANY (_ids)
                AND a.lock_token = _tokens[array_position(_ids, a.event_id)]
            ORDER BY a.event_id
            FOR UPDATE
        ) h;
    END IF;
    IF coalesce(cardinality(_held.places), 0) < cardinality(_ids) THEN
        RETURN (
            SELECT min(n) - 1 FROM generate_series(1, cardinality(_ids)) n
            WHERE n <> ALL (coalesce(_held.places, '{}'))
        );
    ELSIF _held.sessions IS NOT NULL THEN
        PERFORM note_use(_held, _now);
    END IF;
    IF cardinality(_ids) > 1 THEN
        DELETE FROM activity a WHERE a.instance = _instance AND a.execution = _execution AND a.event_id = ANY (_ids);
    END IF;
    RETURN NULL;
END
$$;

-- Remove items that nobody holds, mark those that somebody does. They are locked already.
CREATE FUNCTION cancel_items(
    _doc jsonb, _instance text, _execution bigint, _now float8,
    OUT letters letter[], OUT events bigint[], OUT tokens text[]
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    WITH named AS (
        SELECT i.event_id, i.lock_token IS NULL OR i.due_at <= _now AS free, i.ordinality AS n
        FROM named_items(_doc, _instance, _execution) WITH ORDINALITY AS i
    ), gone AS (
        DELETE FROM activity a USING named i
        WHERE a.instance = _instance AND a.execution = _execution AND a.event_id = i.event_id AND i.free
        RETURNING activity_cancelled(_instance, _execution, a.event_id,
                                     CASE WHEN a.lock_token IS NULL THEN 'never_started' ELSE 'lost' END) AS letter, i.n
    ), marked AS (
        UPDATE activity a SET cancelled = true FROM named i
        WHERE a.instance = _instance AND a.execution = _execution AND a.event_id = i.event_id AND NOT i.free
        RETURNING a.event_id, a.lock_token, i.n
    )
    SELECT (SELECT array_agg(g.letter ORDER BY g.n) FROM gone g), array_agg(m.event_id ORDER BY m.n),
           array_agg(m.lock_token ORDER BY m.n)
    INTO letters, events, tokens FROM marked m;
END
$$;
