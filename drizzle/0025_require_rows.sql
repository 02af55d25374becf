-- Fails a statement that did not write the rows it was to write: what it was decided by was overtaken. So nobody has to wait
-- for its answer before the commit.
CREATE FUNCTION require_rows(written bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF written <> wanted THEN
    RAISE EXCEPTION 'Of % rows that were to be written, % were still as they had been read.', wanted, written USING ERRCODE = 'RC001';
  END IF;
END $$;
