-- The verbs of clients: start an instance, post a message.
--
-- Laws: an execution number of an id is never used twice; a request is carried out once, whatever is repeated, also
-- at the same moment; a refusal writes nothing. Verdicts are worded by the caller.

CREATE TYPE begun AS (verdict text, execution bigint, state text, name text);

-- Whether what has an id is a child of an earlier life of the same parent, which begins its children anew.
CREATE FUNCTION is_left_over(_start jsonb, _old instance) RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT AS $$
BEGIN
    IF _old.parent_id IS DISTINCT FROM _start ->> 'parent_id' OR _old.parent_id IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM instance p
        WHERE p.instance = _old.parent_id AND (_old.parent::jsonb ->> 1)::bigint < p.first_execution
    );
END
$$;

-- Create, attach or replace. Verdicts: created, attached, other, exists. It looks before it inserts or locks, since either
-- would wait for the turn of an instance that lives; and it looks again after it has waited for others who start,
-- replace or delete the same.
CREATE FUNCTION begin_instance(_start jsonb, _data bytea, _payload bytea, _now float8) RETURNS begun LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _id text := _start ->> 'instance';
    _replaces boolean := _start ->> 'if_exists' = 'replace_finished';
    _execution bigint;
    _old instance;
BEGIN
    LOOP
        SELECT * INTO _old FROM instance i WHERE i.instance = _id;
        IF NOT FOUND THEN
            _execution := insert_instance(_start, _now);
        ELSIF _start ->> 'if_exists' = 'attach' THEN
            RETURN ROW(CASE _old.name WHEN _start ->> 'name' THEN 'attached' ELSE 'other' END,
                       _old.execution, _old.state, _old.name)::begun;
        ELSIF ended(_old.state) AND (_replaces OR is_left_over(_start, _old)) THEN
            _execution := replace_instance(_start, _now);
        ELSE
            RETURN ROW('exists', _old.execution, _old.state, _old.name)::begun;
        END IF;
        EXIT WHEN _execution IS NOT NULL;
    END LOOP;
    PERFORM put_start(_id, _execution, _start ->> 'kind', _data, _payload, _now);
    RETURN ROW('created', _execution, 'pending', _start ->> 'name')::begun;
END
$$;

-- Where nobody has the id. Its execution, or null if somebody else was first. It goes on from the last one of an
-- instance that was deleted, which is looked up when that is done: the insertion may have waited for it. It may be born
-- leased.
CREATE FUNCTION insert_instance(_start jsonb, _now float8) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _id text := _start ->> 'instance';
    _wake_at float8 := CASE WHEN (_start ->> 'delay')::float8 > 0 THEN _now + (_start ->> 'delay')::float8 END;
    _until float8 := _now + (_start -> 'born' ->> 'lease')::float8;
    _execution bigint;
BEGIN
    INSERT INTO instance (
        instance, execution, first_execution, name, version, semantics, state, revision, unread, unread_bytes,
        history_length, history_bytes, wake_at, not_before, due_at, lock_token, lock_worker, lock_until, attempts,
        created_at, updated_at, parent, parent_id, attributes
    ) VALUES (
        _id, 1, 1, _start ->> 'name', _start ->> 'version', (_start ->> 'semantics')::integer, 'pending', 0, 0, 0,
        0, 0, _wake_at, 0, greatest(coalesce(_wake_at, _now), _until), _start -> 'born' ->> 'token',
        _start -> 'born' ->> 'worker', coalesce(_until, 0), (_until IS NOT NULL)::integer,
        _now, _now, _start ->> 'parent', _start ->> 'parent_id', _start -> 'attributes'
    )
    ON CONFLICT (instance) DO NOTHING
    RETURNING execution INTO _execution;
    IF FOUND AND EXISTS (SELECT FROM tombstone t WHERE t.instance = _id) THEN
        DELETE FROM message m WHERE m.instance = _id;  -- was on its way to the one that was deleted
        UPDATE instance i SET execution = t.execution + 1, first_execution = t.execution + 1
        FROM tombstone t WHERE i.instance = _id AND t.instance = _id
        RETURNING i.execution INTO _execution;
    END IF;
    RETURN _execution;
END
$$;

-- Where an instance of that id has ended. Its next execution, or null if it is not so any more. What is on its way to
-- the old one arrives before that. The revision goes on: (instance, execution, revision) is never the same twice.
CREATE FUNCTION replace_instance(_start jsonb, _now float8) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _id text := _start ->> 'instance';
    _wake_at float8 := CASE WHEN (_start ->> 'delay')::float8 > 0 THEN _now + (_start ->> 'delay')::float8 END;
    _until float8 := _now + (_start -> 'born' ->> 'lease')::float8;
    _execution bigint;
BEGIN
    PERFORM FROM instance i WHERE i.instance = _id FOR UPDATE;
    UPDATE instance i SET
        execution = i.execution + 1, first_execution = i.execution + 1, name = _start ->> 'name',
        version = _start ->> 'version', semantics = (_start ->> 'semantics')::integer, state = 'pending',
        last_commit = NULL, unread = 0, unread_bytes = 0, history_length = 0, history_bytes = 0, wake_at = _wake_at, not_before = 0,
        due_at = greatest(coalesce(_wake_at, _now), _until), lock_token = _start -> 'born' ->> 'token',
        lock_worker = _start -> 'born' ->> 'worker', lock_until = coalesce(_until, 0),
        attempts = (_until IS NOT NULL)::integer, created_at = _now, updated_at = _now, ended_at = NULL, parent = _start ->> 'parent',
        parent_id = _start ->> 'parent_id', attributes = _start -> 'attributes', status = NULL
    WHERE i.instance = _id AND ended(i.state)
    RETURNING i.execution INTO _execution;
    IF FOUND THEN
        DELETE FROM kv WHERE kv.instance = _id;
        DELETE FROM message m WHERE m.instance = _id;
    END IF;
    RETURN _execution;
END
$$;

-- Put the start message of an execution before whatever is in its inbox.
CREATE FUNCTION put_start(
    _instance text, _execution bigint, _kind text, _data bytea, _payload bytea, _now float8
) RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS $$
    INSERT INTO message (instance, seq, at, execution, control, mailbox, kind, data, payload)
    VALUES (_instance, -nextval(pg_get_serial_sequence('message', 'seq')), _now, _execution, false, false, _kind,
            _data, _payload)
$$;

-- Claim a request id, for a first execution that is created, as most are. The answer that was given before, or a row of
-- nulls if this is the first time; whoever asks with the same id at the same moment waits here.
CREATE FUNCTION recall(_request_id text, _verb text, _instance text, _now float8) RETURNS request LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    _answer request;
BEGIN
    INSERT INTO request (request_id, at, verb, instance, execution, created)
    VALUES (_request_id, _now, _verb, _instance, 1, true)
    ON CONFLICT (request_id) DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO _answer FROM request r WHERE r.request_id = _request_id;
    END IF;
    RETURN _answer;
END
$$;

-- The first turn of an instance that is locked under the token with which it was born; null if it is not, or not any
-- more.
CREATE FUNCTION turn_of(_instance text, _token text) RETURNS locked_turn LANGUAGE sql STABLE
SET search_path FROM CURRENT AS $$
    SELECT ROW(i.instance, i.execution, i.lock_token, i.name, i.version, i.state, i.revision, i.history_length,
               i.history_bytes, i.attempts, i.wake_at, read_inbox(i.instance, i.execution))::locked_turn
    FROM instance i WHERE i.instance = _instance AND i.lock_token = _token
$$;

-- Verdicts: created, attached, other (its name is `other`), exists, duplicate (`state` is then the verb and `other` the
-- instance of that request). `turn`: its first, where that was born leased.
CREATE FUNCTION start_instance(
    _doc jsonb, _data bytea, _payload bytea,
    OUT verdict text, OUT execution bigint, OUT state text, OUT other text, OUT turn locked_turn
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _id text := _doc ->> 'instance';
    _answer request := recall(_doc ->> 'request_id', 'start', _id, _now);
    _begun begun;
BEGIN
    IF _answer.request_id IS NOT NULL THEN
        verdict := CASE WHEN (_answer.verb, _answer.instance) <> ('start', _id) THEN 'duplicate'
                        WHEN _answer.created THEN 'created' ELSE 'attached' END;
        execution := _answer.execution;
        state := _answer.verb;
        other := _answer.instance;
        turn := turn_of(_id, _doc -> 'born' ->> 'token');
        RETURN;
    END IF;
    _begun := begin_instance(_doc, _data, _payload, _now);
    verdict := _begun.verdict;
    execution := _begun.execution;
    state := _begun.state;
    other := _begun.name;
    IF verdict IN ('exists', 'other') THEN
        DELETE FROM request r WHERE r.request_id = _doc ->> 'request_id';
    ELSIF execution <> 1 OR verdict <> 'created' THEN
        UPDATE request r SET execution = _begun.execution, created = verdict = 'created'
        WHERE r.request_id = _doc ->> 'request_id';
    END IF;
    IF verdict = 'created' AND _doc ? 'born' THEN
        turn := turn_of(_id, _doc -> 'born' ->> 'token');
    END IF;
END
$$;

-- Unread events of an instance, those on their way included, and the bytes in their payloads, as far as a limit is
-- concerned.
CREATE FUNCTION count_mail(_instance text, _limit bigint, OUT held bigint, OUT bytes bigint) LANGUAGE sql VOLATILE
SET search_path FROM CURRENT AS $$
    SELECT i.unread + m.held, i.unread_bytes + m.bytes
    FROM instance i, (
        SELECT count(*) AS held, coalesce(sum(octet_length(l.payload)), 0)::bigint AS bytes
        FROM (
            SELECT m.payload FROM message m WHERE m.instance = _instance AND m.mailbox LIMIT greatest(_limit, 0)
        ) l
    ) m
    WHERE i.instance = _instance
$$;

-- Verdicts: posted, again, duplicate, unknown, ended, full (`held` events), large (`held` bytes).
CREATE FUNCTION post_message(
    _doc jsonb, _data bytea, _payload bytea,
    OUT verdict text, OUT state text, OUT other text, OUT held bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    _now float8 := clock();
    _id text := _doc ->> 'instance';
    _answer request := recall(_doc ->> 'request_id', 'post', _id, _now);
    _limit bigint := (_doc ->> 'mailbox_limit')::bigint;
    _size bigint := coalesce(octet_length(_payload), 0);
    _most bigint := (_doc ->> 'mailbox_bytes')::bigint - _size;
    _counted jsonb := nullif(current_setting('trioflow.mail', true), '');  -- by the first of those that go together
    _mail record;
    _i instance;
BEGIN
    IF _answer.request_id IS NOT NULL THEN
        verdict := CASE WHEN (_answer.verb, _answer.instance) <> ('post', _id) THEN 'duplicate' ELSE 'again' END;
        state := _answer.verb;
        other := _answer.instance;
        RETURN;
    END IF;
    SELECT * INTO _i FROM instance i WHERE i.instance = _id;
    state := _i.state;
    IF NOT FOUND THEN
        verdict := 'unknown';
    ELSIF ended(_i.state) THEN
        verdict := 'ended';
    ELSE
        verdict := 'posted';
        IF (_doc ->> 'mailbox')::boolean THEN
            IF _counted ->> 'instance' = _id AND (_counted ->> 'limit')::bigint >= _limit THEN
                SELECT * INTO _mail FROM jsonb_to_record(_counted) AS (held bigint, bytes bigint);
            ELSE
                SELECT * INTO _mail FROM count_mail(_id, _limit);
                _counted := to_jsonb(_mail) || jsonb_build_object('instance', _id, 'limit', _limit);
                PERFORM set_config('trioflow.mail', _counted::text, true);
            END IF;
            -- With a large event, or near a limit that a thousand others might reach, one sender comes after the other.
            IF _size > 8192 OR _mail.held + 1000 > _limit OR _mail.bytes + 1000 * 8192 > _most THEN
                PERFORM pg_advisory_xact_lock(hashtextextended('trioflow/mail/' || _id, 0));
                SELECT * INTO _mail FROM count_mail(_id, _limit);
                PERFORM set_config('trioflow.mail', '', true);  -- others have to count what this one brings
            END IF;
            IF _mail.held >= _limit THEN
                verdict := 'full';
                held := _mail.held;
            ELSIF _mail.bytes > _most THEN
                verdict := 'large';
                held := _mail.bytes;
            END IF;
        END IF;
    END IF;
    IF verdict <> 'posted' THEN
        DELETE FROM request r WHERE r.request_id = _doc ->> 'request_id';
        RETURN;
    END IF;
    PERFORM deliver(ARRAY[ROW(_id, (_doc ->> 'execution')::bigint, _doc ->> 'child_of', (_doc ->> 'control')::boolean,
                              (_doc ->> 'mailbox')::boolean, _doc ->> 'kind', _data, _payload)::letter], _now);
END
$$;

-- Forget what was kept before a moment, some of it in one call.
CREATE FUNCTION forget_before(_at float8) RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS $$
    DELETE FROM request WHERE request_id IN (SELECT r.request_id FROM request r WHERE r.at < _at LIMIT 10000);
    DELETE FROM settled WHERE (instance, token) IN (
        SELECT s.instance, s.token FROM settled s WHERE s.at < _at LIMIT 10000
    );
    DELETE FROM session WHERE digest IN (
        SELECT s.digest FROM session s WHERE s.until < _at LIMIT 10000 FOR UPDATE SKIP LOCKED
    );
$$;
