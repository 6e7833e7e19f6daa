-- The verbs of turns: lock, commit, release, renew.
--
-- Laws: everything is checked before anything is written; the last commit of an instance may be repeated and is then
-- already applied; the instance's own row is locked first, then its items in the order of their keys.

-- Lease instances that have something to do: what this worker can run or has to control, or the others. `next_due` is
-- when to ask again.
CREATE FUNCTION lock_turns(
    _doc jsonb, OUT now float8, OUT next_due float8, OUT reached text[], OUT turns locked_turn[]
) LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _until float8 := _now + (_doc ->> 'lease')::float8;
    _overdue float8 := _now - (_doc ->> 'overdue')::float8;
    _others boolean := (_doc ->> 'others')::boolean;
    _anything boolean := NOT _doc ? 'names';
    _names text[] := ARRAY(SELECT jsonb_array_elements_text(_doc -> 'names'));
    _versions text[] := ARRAY(SELECT jsonb_array_elements_text(_doc -> 'versions'));
    _semantics integer[] := ARRAY(SELECT jsonb_array_elements_text(_doc -> 'semantics')::integer);
    _ids text[];
    _left boolean;
BEGIN
    reached := sweep(_now);
    _left := take_over_ready(_now);
    _ids := ARRAY(
        SELECT i.instance FROM instance i
        WHERE i.due_at <= _overdue AND (
            _others <> (_anything OR i.semantics = ANY (_semantics) AND (
                i.version IS NULL AND i.name = ANY (_names)
                OR EXISTS (SELECT FROM unnest(_names, _versions) c (name, version)
                           WHERE c.name = i.name AND c.version = i.version)
            ))
            OR NOT _others AND control_at(i.instance, i.execution) IS NOT NULL
        )
        ORDER BY i.due_at, i.due_revision, i.instance
        LIMIT (_doc ->> 'limit')::bigint
        FOR NO KEY UPDATE SKIP LOCKED
    );
    IF cardinality(_ids) > 0 THEN
        WITH leased AS (
            UPDATE instance i SET
                lock_token = new_token(_doc ->> 'token', _now, t.n), lock_worker = _doc ->> 'worker',
                lock_until = _until, attempts = i.attempts + 1, due_at = greatest(i.due_at, _until)
            FROM unnest(_ids) WITH ORDINALITY AS t (instance, n)
            WHERE i.instance = t.instance
            RETURNING i.*, t.n
        )
        SELECT array_agg(
            ROW(l.instance, l.execution, l.lock_token, l.name, l.version, l.state, l.revision, l.history_length,
                l.history_bytes, l.attempts, l.wake_at, read_inbox(l.instance, l.execution))::locked_turn
            ORDER BY l.n
        ) INTO turns FROM leased l;
    END IF;
    next_due := least(
        (SELECT min(i.due_at) FROM instance i WHERE i.due_at > _now),
        (SELECT min(a.due_at) FROM activity a WHERE a.cancelled AND a.due_at > _now),
        (SELECT min(a.start_by) FROM activity a
         WHERE a.start_by > _now AND a.lock_token IS NULL AND NOT a.cancelled),
        CASE WHEN _left THEN _now + 0.005 END
    );
    now := _now;
END
$$;

-- A token, unique for ever: the time, random digits of the caller's, and a number.
CREATE FUNCTION new_token(_random text, _now float8, _n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lpad(to_hex((_now * 1000)::bigint), 12, '0') || substr(_random, 13) || '-' || _n
$$;

-- Items that are held under their tokens: their places in a list, from 1, and which worker uses which session.
CREATE TYPE held_items AS (places integer[], sessions text[], workers text[]);

-- Write everything a turn did. Verdicts: committed, again, gone, lost, revision, events, settle (`at_fault` says which).
CREATE FUNCTION commit_turn(
    _doc jsonb, _status bytea,
    _event_data bytea[], _event_payloads bytea[],
    _kv_digests bytea[], _kv_values bytea[], _kv_cleared bytea[],
    _activity_data bytea[], _activity_payloads bytea[], _activity_late bytea[],
    _start_data bytea[], _start_payloads bytea[],
    _letter_data bytea[], _letter_payloads bytea[],
    _next_data bytea, _next_payload bytea,
    _settle_data bytea[], _settle_payloads bytea[], _settle_options bytea[],
    _done bigint[], _done_tokens text[],
    OUT verdict text, OUT at_fault bigint, OUT now float8, OUT revision bigint, OUT execution bigint, OUT kept boolean,
    OUT messages inbox, OUT hurt_events bigint[], OUT hurt_tokens text[], OUT reached text[], OUT turns boolean
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _id text := _doc ->> 'instance';
    _of bigint := (_doc ->> 'execution')::bigint;
    _keep float8 := (_doc ->> 'keep')::float8;
    _ends boolean := ended(_doc ->> 'state');
    _held held_items;
    _letters letter[];
    _posted text[];
    _mail boolean;
    _i instance;
BEGIN
    SELECT * INTO _i FROM instance i WHERE i.instance = _id FOR NO KEY UPDATE;
    now := _now;
    revision := _i.revision;
    execution := _i.execution;
    turns := false;
    IF _i.instance IS NULL THEN
        verdict := 'gone';
        RETURN;
    ELSIF _i.last_commit = _doc ->> 'request_id' THEN
        verdict := 'again';
        kept := _keep IS NOT NULL AND _i.lock_token IS NOT DISTINCT FROM _doc ->> 'token';
        IF kept THEN
            messages := read_inbox(_id, _i.execution);
        END IF;
        SELECT array_agg(h.event_id), array_agg(h.lock_token) INTO hurt_events, hurt_tokens
        FROM named_items(_doc, _id, _of) h WHERE h.cancelled;
        RETURN;
    ELSIF _i.lock_token IS DISTINCT FROM _doc ->> 'token' OR _i.execution <> _of THEN
        verdict := 'lost';
        RETURN;
    ELSIF _i.revision <> (_doc ->> 'revision')::bigint THEN
        verdict := 'revision';
        RETURN;
    ELSIF (_doc -> 'events' -> 0 ->> 'id')::bigint <> _i.history_length + 1 OR _doc ? 'gap' THEN
        verdict := 'events';
        at_fault := _i.history_length;
        RETURN;
    END IF;
    IF _doc ?| ARRAY['cancels', 'cancel_all'] THEN  -- what is settled alone is locked where that is done
        PERFORM lock_items(_doc, _done, _id, _of);
    END IF;
    IF _done IS NOT NULL THEN
        at_fault := remove_items(_id, _of, _done, _done_tokens, _now);
        IF at_fault IS NOT NULL THEN
            verdict := 'settle';
            RETURN;
        END IF;
    ELSIF _doc ? 'settle' THEN
        _held := hold_items(_doc -> 'settle');
        IF cardinality(_held.places) < jsonb_array_length(_doc -> 'settle') THEN
            verdict := 'settle';
            SELECT min(n) - 1 INTO at_fault FROM generate_series(1, jsonb_array_length(_doc -> 'settle')) n
            WHERE n <> ALL (_held.places);
            RETURN;
        END IF;
        SELECT s.reached INTO reached
        FROM settle_items(_doc -> 'settle', _held, _settle_data, _settle_payloads, _settle_options, _now) s;
        turns := cardinality(reached) > 0;
    END IF;

    -- The history, and the inbox.
    IF _doc ? 'events' THEN
        INSERT INTO event (instance, execution, id, at, kind, data, payload)
        SELECT _id, _of, e.id, e.at, e.kind, e.data, e.payload
        FROM ROWS FROM (jsonb_to_recordset(_doc -> 'events') AS (id bigint, at float8, kind text),
                        unnest(_event_data), unnest(_event_payloads)) AS e (id, at, kind, data, payload);
        _i.history_length := _i.history_length + jsonb_array_length(_doc -> 'events');
        _i.history_bytes := _i.history_bytes + (_doc ->> 'event_bytes')::bigint;
    END IF;
    IF _ends THEN
        DELETE FROM message m WHERE m.instance = _id;
    ELSIF _doc ? 'consumed' THEN
        DELETE FROM message m
        WHERE m.instance = _id AND m.seq = ANY (ARRAY(SELECT jsonb_array_elements_text(_doc -> 'consumed')::bigint));
    END IF;
    IF _kv_cleared IS NOT NULL THEN
        DELETE FROM kv WHERE kv.instance = _id AND kv.digest = ANY (_kv_cleared);
    END IF;
    IF _kv_values IS NOT NULL THEN
        INSERT INTO kv (instance, digest, key, value)
        SELECT _id, v.digest, v.key, v.value
        FROM ROWS FROM (unnest(_kv_digests), jsonb_array_elements_text(_doc -> 'kv_keys'), unnest(_kv_values))
            AS v (digest, key, value)
        ON CONFLICT ON CONSTRAINT kv_pkey DO UPDATE SET value = excluded.value;
    END IF;

    -- The instance itself: its lock is released, or held for longer.
    _i.state := _doc ->> 'state';
    _i.wake_at := CASE WHEN NOT _ends THEN (_doc ->> 'wake_at')::float8 END;
    _i.version := coalesce(_doc ->> 'version', _i.version);
    _i.revision := _i.revision + 1;
    _i.updated_at := _now;
    _i.not_before := 0;
    IF _doc ? 'next' THEN
        _i.execution := _i.execution + 1;
        _i.version := _doc -> 'next' ->> 'version';
        _i.semantics := (_doc -> 'next' ->> 'semantics')::integer;
        _i.state := 'pending';
        _i.history_length := 0;
        _i.history_bytes := 0;
        _i.wake_at := NULL;
        DELETE FROM message m WHERE m.instance = _id AND m.execution <> _i.execution;
        PERFORM put_start(_id, _i.execution, _doc -> 'next' ->> 'kind', _next_data, _next_payload, _now);
    END IF;
    kept := _keep IS NOT NULL AND NOT ended(_i.state);
    IF kept THEN
        _i.lock_until := _now + _keep;
    ELSE
        _i.lock_token := NULL;
        _i.lock_worker := NULL;
        _i.lock_until := 0;
    END IF;
    _mail := NOT ended(_i.state) AND EXISTS (SELECT FROM message m WHERE m.instance = _id);
    _i.due_at := CASE WHEN _mail OR _i.wake_at IS NOT NULL THEN due_of(_i, _now) END;
    UPDATE instance i SET
        execution = _i.execution, version = _i.version, semantics = _i.semantics, state = _i.state,
        revision = _i.revision, last_commit = _doc ->> 'request_id', unread = (_doc ->> 'unread')::integer,
        unread_bytes = (_doc ->> 'unread_bytes')::bigint, history_length = _i.history_length,
        history_bytes = _i.history_bytes, wake_at = _i.wake_at, not_before = 0, due_at = _i.due_at,
        lock_token = _i.lock_token, lock_worker = _i.lock_worker, lock_until = _i.lock_until, attempts = 0,
        updated_at = _now, ended_at = CASE WHEN ended(_i.state) THEN _now END, status = coalesce(_status, i.status)
    WHERE i.instance = _id;
    turns := turns OR _i.due_at IS NOT NULL AND NOT kept;

    -- What it asked for. From here on messages find the instance as it is now.
    IF _doc ? 'activities' THEN
        INSERT INTO activity (instance, execution, event_id, name, tag, session, scheduled_at, start_by, late_kind,
                              late_data, due_at, lock_token, lock_worker, attempt, failures, fetches, cancelled, data,
                              payload)
        SELECT _id, _of, a.event_id, a.name, a.tag, a.session, _now, _now + a.start_within, a.late_kind, a.late,
               _now + coalesce(a.lease, 0), a.token, a.worker, (a.token IS NOT NULL)::integer, 0,
               (a.token IS NOT NULL)::integer, false, a.data, a.payload
        FROM ROWS FROM (
            jsonb_to_recordset(_doc -> 'activities') AS (
                event_id bigint, name text, tag text, session text, worker text, token text, lease float8,
                start_within float8, late_kind text
            ),
            unnest(_activity_data), unnest(_activity_payloads), unnest(_activity_late)
        ) AS a (event_id, name, tag, session, worker, token, lease, start_within, late_kind, data, payload, late);
    END IF;
    IF _doc ? 'cancels' OR _doc ? 'cancel_all' THEN
        SELECT c.letters, c.events, c.tokens INTO _letters, hurt_events, hurt_tokens
        FROM cancel_items(_doc, _id, _of, _now) c;
        _posted := deliver(_letters, _now);
    END IF;
    IF _doc ? 'starts' THEN
        _posted := _posted
            || start_children(_doc, _start_data, _start_payloads, _letter_data, _letter_payloads, _now);
        turns := true;
    END IF;
    IF _doc ? 'letters' THEN
        _posted := _posted || deliver(
            ARRAY(
                SELECT l.letter FROM letters_of(_doc, _letter_data, _letter_payloads) l
                WHERE l.start IS NULL ORDER BY l.n
            ),
            _now
        );
    END IF;
    reached := reached || _posted;
    turns := turns OR coalesce(cardinality(_posted), 0) > 0;
    verdict := 'committed';
    revision := _i.revision;
    execution := _i.execution;
    IF kept AND (_mail OR _posted IS NOT NULL) THEN
        messages := read_inbox(_id, _i.execution);
    END IF;
END
$$;

-- The messages that a commit carries: those that tell how a start went say which, the others are for anybody.
CREATE FUNCTION letters_of(_doc jsonb, _data bytea[], _payloads bytea[]) RETURNS TABLE (
    start bigint, reply text, letter letter, n bigint
) LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
    SELECT l.start, l.reply,
           ROW(l.instance, l.execution, l.child_of, l.control, l.mailbox, l.kind, l.data, l.payload)::letter, l.n
    FROM ROWS FROM (
        jsonb_to_recordset(_doc -> 'letters') AS (
            start bigint, reply text, instance text, execution bigint, child_of text, control boolean,
            mailbox boolean, kind text
        ),
        unnest(_data), unnest(_payloads)
    ) WITH ORDINALITY
        AS l (start, reply, instance, execution, child_of, control, mailbox, kind, data, payload, n)
$$;

-- Start the children of a turn, each for itself, and tell at once how it went. The instances that were told.
CREATE FUNCTION start_children(
    _doc jsonb, _data bytea[], _payloads bytea[], _letter_data bytea[], _letter_payloads bytea[], _now float8
) RETURNS text[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _told text[] := '{}';
    _verdict text;
    _s record;
BEGIN
    FOR _s IN
        SELECT s.start, s.data, s.payload, r.started, r.refused
        FROM ROWS FROM (jsonb_array_elements(_doc -> 'starts'), unnest(_data), unnest(_payloads))
            WITH ORDINALITY AS s (start, data, payload, n)
        LEFT JOIN (
            SELECT l.start, array_agg(l.letter) FILTER (WHERE l.reply = 'started') AS started,
                   array_agg(l.letter) FILTER (WHERE l.reply = 'refused') AS refused
            FROM letters_of(_doc, _letter_data, _letter_payloads) l GROUP BY l.start
        ) r ON r.start = s.n
        ORDER BY s.n
    LOOP
        _verdict := (begin_instance(_s.start, _s.data, _s.payload, _now)).verdict;
        _told := _told || deliver(CASE WHEN _verdict IN ('exists', 'other') THEN _s.refused ELSE _s.started END, _now);
    END LOOP;
    RETURN _told;
END
$$;

-- Give a lock back. Whether somebody may take it now or knows when.
CREATE FUNCTION release_turn(_doc jsonb) RETURNS boolean LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _delay float8 := (_doc ->> 'delay')::float8;
    _i instance;
BEGIN
    SELECT * INTO _i FROM instance i
    WHERE i.instance = _doc ->> 'instance' AND i.execution = (_doc ->> 'execution')::bigint
        AND i.lock_token = _doc ->> 'token'
    FOR NO KEY UPDATE;
    IF _i.instance IS NULL THEN
        RETURN false;
    END IF;
    _i.lock_token := NULL;
    _i.not_before := CASE WHEN _delay > 0 THEN _now + _delay ELSE 0 END;
    _i.attempts := greatest(_i.attempts - (_doc ->> 'clean')::boolean::integer, 0);
    _i.due_at := due_of(_i, _now);
    UPDATE instance i SET lock_token = NULL, lock_worker = NULL, lock_until = 0, not_before = _i.not_before,
        attempts = _i.attempts, due_at = _i.due_at
    WHERE i.instance = _i.instance;
    RETURN _i.due_at IS NOT NULL;
END
$$;

-- Hold locks for longer. Which of them, counted from 0, are lost.
CREATE FUNCTION renew_turns(_doc jsonb) RETURNS integer[] LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _until float8 := _now + (_doc ->> 'lease')::float8;
    _held integer[];
    _ids text[];
BEGIN
    SELECT array_agg(h.n), array_agg(h.instance) INTO _held, _ids FROM (
        SELECT l.n, i.instance
        FROM ROWS FROM (jsonb_to_recordset(_doc -> 'locks') AS (instance text, execution bigint, token text))
            WITH ORDINALITY AS l (instance, execution, token, n)
        JOIN instance i ON i.instance = l.instance AND i.execution = l.execution AND i.lock_token = l.token
        ORDER BY i.instance
        FOR NO KEY UPDATE OF i
    ) h;
    UPDATE instance i SET lock_until = _until WHERE i.instance = ANY (_ids);
    UPDATE instance i SET due_at = due_of(i, _now) WHERE i.instance = ANY (_ids) AND i.due_at IS NOT NULL;
    RETURN ARRAY(
        SELECT n - 1 FROM generate_series(1, jsonb_array_length(_doc -> 'locks')) n
        WHERE n <> ALL (coalesce(_held, '{}'))
    );
END
$$;
