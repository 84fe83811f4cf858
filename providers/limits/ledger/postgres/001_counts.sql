-- What was used, and one function for a call on it. Names of functions and types end in the number of the migration that
-- made them: processes of the version before go on with theirs while others have moved on.

CREATE TABLE squad_ledger.counts (
  key text COLLATE "C" PRIMARY KEY,
  numbers bigint[] NOT NULL,          -- of buckets, in order of time
  amounts float8[] NOT NULL,          -- what was used in each
  outside float8 NOT NULL,            -- what the provider counted beyond our own, by its own word
  outside_until float8 NOT NULL,
  due float8 NOT NULL,                -- paced: when the next call would come in an even flow
  held float8 NOT NULL,               -- by the leases, all together
  live bigint NOT NULL,               -- how many leases there are
  soonest float8 NOT NULL,            -- before this instant none of them expires
  keep_until float8 NOT NULL          -- afterwards nothing of it can matter any more
) WITH (
  -- Each call writes a row anew. A page that has room keeps the new version beside the old one, and no index is touched.
  fillfactor = 50, toast_tuple_target = 8160,
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000
);

CREATE TABLE squad_ledger.leases (
  key text COLLATE "C",
  id text COLLATE "C",
  amount float8 NOT NULL,
  expires float8 NOT NULL,
  PRIMARY KEY (key, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TYPE squad_ledger.meter_1 AS (
  key text, "limit" float8, amount float8, span float8, reach bigint, width float8, paced boolean, burst float8,
  first bigint, starts float8[], remaining float8, ahead float8
);

CREATE FUNCTION squad_ledger.bucket_1(meter squad_ledger.meter_1, instant float8) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  number bigint;
BEGIN
  IF meter.starts IS NULL THEN
    RETURN floor(instant / meter.width);
  END IF;
  FOR i IN 1 .. cardinality(meter.starts) LOOP
    IF instant >= meter.starts[i] THEN
      number := meter.first + i - 1;
    END IF;
  END LOOP;
  RETURN number;  -- null: before all that the caller reckoned, so long over
END $$;

CREATE FUNCTION squad_ledger.added_1(count squad_ledger.counts, number bigint, amount float8) RETURNS squad_ledger.counts
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  place bigint := cardinality(count.numbers);
BEGIN
  IF amount = 0 OR number IS NULL THEN
    RETURN count;
  END IF;
  WHILE place > 0 AND count.numbers[place] > number LOOP  -- the clock has stepped back: numbers stay in order
    place := place - 1;
  END LOOP;
  IF place > 0 AND count.numbers[place] = number THEN
    count.amounts[place] := count.amounts[place] + amount;
  ELSE
    count.numbers := count.numbers[:place] || number || count.numbers[place + 1:];
    count.amounts := count.amounts[:place] || amount || count.amounts[place + 1:];
  END IF;
  RETURN count;
END $$;

-- What is counted under a meter now: without what has passed, and with the leases that have expired as used.
CREATE FUNCTION squad_ledger.counted_1(meter squad_ledger.meter_1, now float8) RETURNS squad_ledger.counts
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  count squad_ledger.counts;
  lease squad_ledger.leases;
  oldest bigint;
  old bigint := 0;
BEGIN
  SELECT * INTO count FROM squad_ledger.counts AS c WHERE c.key = meter.key;
  IF NOT FOUND THEN
    RETURN (meter.key, '{}', '{}', 0, 0, 0, 0, 0, 'infinity', 0)::squad_ledger.counts;
  END IF;
  IF meter.paced THEN  -- what lies further ahead than a burst: the clock has stepped back
    count.due := least(count.due, now + meter.span * meter.burst);
    RETURN count;
  END IF;
  IF now >= count.soonest THEN
    FOR lease IN SELECT * FROM squad_ledger.leases AS l WHERE l.key = meter.key AND l.expires <= now LOOP
      count := squad_ledger.added_1(count, squad_ledger.bucket_1(meter, lease.expires), lease.amount);
    END LOOP;
    SELECT coalesce(sum(l.amount), 0), count(*), coalesce(min(l.expires), 'infinity')
      INTO count.held, count.live, count.soonest
      FROM squad_ledger.leases AS l WHERE l.key = meter.key AND l.expires > now;
  END IF;
  -- The window before is kept as well: the clock may step back by one without a call being forgotten.
  oldest := squad_ledger.bucket_1(meter, now) - 2 * meter.reach - 1;
  WHILE old < cardinality(count.numbers) AND count.numbers[old + 1] < oldest LOOP
    old := old + 1;
  END LOOP;
  IF old > 0 THEN
    count.numbers := count.numbers[old + 1:];
    count.amounts := count.amounts[old + 1:];
  END IF;
  IF count.outside <> 0 AND count.outside_until <= now THEN
    count.outside := 0;
    count.outside_until := 0;
  END IF;
  RETURN count;
END $$;

CREATE FUNCTION squad_ledger.used_1(meter squad_ledger.meter_1, count squad_ledger.counts, now float8) RETURNS float8
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  total float8 := count.outside;
  oldest bigint := squad_ledger.bucket_1(meter, now) - meter.reach;
BEGIN
  FOR i IN 1 .. cardinality(count.numbers) LOOP
    IF count.numbers[i] >= oldest THEN
      total := total + count.amounts[i];
    END IF;
  END LOOP;
  RETURN total + count.held;
END $$;

CREATE FUNCTION squad_ledger.lacks_1(meter squad_ledger.meter_1, count squad_ledger.counts, now float8) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF meter.amount > meter."limit" THEN
    RETURN true;
  END IF;
  IF meter.paced THEN
    RETURN now < count.due - (meter.burst - 1) * (meter.span / meter."limit");
  END IF;
  RETURN squad_ledger.used_1(meter, count, now) + meter.amount > meter."limit";
END $$;

CREATE FUNCTION squad_ledger.keep_1(meter squad_ledger.meter_1, count squad_ledger.counts, now float8, ttl float8) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF now >= (SELECT c.soonest FROM squad_ledger.counts AS c WHERE c.key = meter.key) THEN  -- they count as used now
    DELETE FROM squad_ledger.leases AS l WHERE l.key = meter.key AND l.expires <= now;
  END IF;
  -- Two windows of memory, as everywhere, and time for what is out.
  count.keep_until := greatest(count.keep_until, now + 3 * meter.span * coalesce(meter.burst, 1) + ttl + 60);
  INSERT INTO squad_ledger.counts SELECT count.*
    ON CONFLICT (key) DO UPDATE SET (numbers, amounts, outside, outside_until, due, held, live, soonest, keep_until) =
      (excluded.numbers, excluded.amounts, excluded.outside, excluded.outside_until, excluded.due, excluded.held,
       excluded.live, excluded.soonest, excluded.keep_until);
END $$;

-- What the caller needs to know of a count: who holds the leases is nothing to it.
CREATE FUNCTION squad_ledger.told_1(meter squad_ledger.meter_1, count squad_ledger.counts, now float8) RETURNS json
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  last float8;
BEGIN
  IF count.live > 0 THEN
    SELECT max(l.expires) INTO last FROM squad_ledger.leases AS l WHERE l.key = meter.key AND l.expires > now;
  END IF;
  RETURN json_build_array(
    (SELECT coalesce(json_agg(json_build_array(number, amount) ORDER BY place), '[]')
       FROM unnest(count.numbers, count.amounts) WITH ORDINALITY AS of(number, amount, place)),
    CASE WHEN count.live > 0 THEN json_build_array(json_build_array('', count.held, last)) ELSE '[]' END,
    json_build_array(count.outside, count.outside_until),
    count.due
  );
END $$;

-- One call on the ledger, atomic and on the server's clock. It says what `providers/limits/reserve.py` says. `given`: go
-- by this instant instead. `durable`: what it counts is on disk when it returns.
CREATE FUNCTION squad_ledger.call_1(
  op text, given float8, lease text, ttl float8, durable boolean, asked jsonb,
  OUT outcome text, OUT now float8, OUT told json[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  meters squad_ledger.meter_1[];
  counts squad_ledger.counts[];
  meter squad_ledger.meter_1;
  count squad_ledger.counts;
  freed float8;
  bucket bigint;
  more float8;
  ends float8;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the ledger needs default_transaction_isolation = ''read committed'' in its database';
  END IF;
  IF NOT durable THEN  -- of this transaction alone
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;
  SELECT array_agg(m) INTO meters FROM jsonb_populate_recordset(NULL::squad_ledger.meter_1, asked) AS m;
  -- In one order, so that no two calls wait for each other. Rows that are not there yet could not be locked.
  IF op = 'usage' THEN
    PERFORM pg_advisory_xact_lock_shared(lock) FROM
      (SELECT DISTINCT hashtextextended(m.key, 5432) AS lock FROM unnest(meters) AS m ORDER BY 1) AS locks;
  ELSE
    PERFORM pg_advisory_xact_lock(lock) FROM
      (SELECT DISTINCT hashtextextended(m.key, 5432) AS lock FROM unnest(meters) AS m ORDER BY 1) AS locks;
  END IF;
  -- Only now: who waited for a lock must not count at an instant before that of the call it waited for.
  now := coalesce(given, extract(epoch FROM clock_timestamp())::float8);
  outcome := 'done';

  IF op = 'forget' THEN
    DELETE FROM squad_ledger.leases AS l USING unnest(meters) AS m WHERE l.key = m.key;
    DELETE FROM squad_ledger.counts AS c USING unnest(meters) AS m WHERE c.key = m.key;
    RETURN;
  END IF;
  FOREACH meter IN ARRAY meters LOOP
    -- The caller reckons calendars, around the time that it takes to be the server's.
    IF now < meter.starts[1] OR now >= meter.starts[cardinality(meter.starts)] THEN
      outcome := 'clock';
      RETURN;
    END IF;
    counts := counts || squad_ledger.counted_1(meter, now);
  END LOOP;

  IF op = 'usage' THEN
    outcome := 'counts';
  ELSIF op = 'reserve' THEN
    outcome := 'granted';
    IF EXISTS (SELECT FROM squad_ledger.leases AS l
                WHERE l.id = lease AND l.key = ANY (SELECT m.key FROM unnest(meters) AS m) AND l.expires > now) THEN
      RETURN;  -- it was granted, and the answer was lost
    END IF;
    FOR i IN 1 .. cardinality(meters) LOOP
      IF squad_ledger.lacks_1(meters[i], counts[i], now) THEN
        outcome := 'refused';
      END IF;
    END LOOP;
  END IF;
  IF outcome IN ('counts', 'refused') THEN
    FOR i IN 1 .. cardinality(meters) LOOP
      told := told || squad_ledger.told_1(meters[i], counts[i], now);
    END LOOP;
    RETURN;
  END IF;

  FOR i IN 1 .. cardinality(meters) LOOP
    meter := meters[i];
    count := counts[i];
    IF op = 'reserve' AND NOT meter.paced THEN
      INSERT INTO squad_ledger.leases VALUES (meter.key, lease, meter.amount, now + ttl)
        ON CONFLICT (key, id) DO UPDATE SET amount = excluded.amount, expires = excluded.expires;
      IF cardinality(count.numbers) = 0 OR count.numbers[cardinality(count.numbers)] < squad_ledger.bucket_1(meter, now) THEN
        count.numbers := count.numbers || squad_ledger.bucket_1(meter, now);
        count.amounts := count.amounts || 0::float8;
      END IF;
      count.held := count.held + meter.amount;
      count.live := count.live + 1;
      count.soonest := least(count.soonest, now + ttl);
    ELSIF op = 'settle' THEN
      DELETE FROM squad_ledger.leases AS l WHERE l.key = meter.key AND l.id = lease AND l.expires > now
        RETURNING l.amount INTO freed;
      CONTINUE WHEN NOT FOUND;
      count.live := count.live - 1;
      count.held := CASE WHEN count.live > 0 THEN count.held - freed ELSE 0 END;  -- no rounding outlasts the calls
      -- Counted now, not at the reservation: the provider's window must not end later than ours. Where the clock has
      -- stepped back since, not before it: what was reserved last is the last bucket, if nothing was used after it.
      bucket := greatest(squad_ledger.bucket_1(meter, now), count.numbers[cardinality(count.numbers)]);
      count := squad_ledger.added_1(count, bucket, meter.amount);
    ELSIF meter.paced AND op IN ('reserve', 'spend') THEN
      count.due := greatest(count.due, now) + meter.amount * (meter.span / meter."limit");
    ELSIF op = 'spend' THEN
      count := squad_ledger.added_1(count, squad_ledger.bucket_1(meter, now), meter.amount);
    ELSIF op = 'observe' AND NOT meter.paced THEN
      more := meter."limit" - (squad_ledger.used_1(meter, count, now) - count.outside) - meter.remaining;
      ends := least(greatest(now + meter.ahead, now), now + meter.span);
      -- A word that leaves more room than the last one may be the older of the two: replies overtake each other.
      CONTINUE WHEN more <= 0 OR (more, ends) <= (count.outside, count.outside_until);
      count.outside := more;
      count.outside_until := ends;
    ELSE
      CONTINUE;
    END IF;
    PERFORM squad_ledger.keep_1(meter, count, now, ttl);
  END LOOP;
END $$;
