-- Tells a lumbar node about every stable MR study, for an Orthanc without the Python plugin.
-- Settings: NodeUrl, Peer and TokenFile of the section "Lumbar" of orthanc.json, as for plugin.py.
--
-- Less is promised than by plugin.py: a study that could not be told of is told of again when it
-- is stable again, or with the next study that is, but not over a restart of Orthanc.

local STATE, ANSWERED = '/metadata/4200', '/metadata/4201'

-- PS3.4 B.5: MR, Enhanced MR and Legacy Converted Enhanced MR Image Storage. Our own results are
-- none of these, so they never change the set of images that was told of: there is no loop.
local MR_IMAGE = {
  ['1.2.840.10008.5.1.4.1.1.4'] = true,
  ['1.2.840.10008.5.1.4.1.1.4.1'] = true,
  ['1.2.840.10008.5.1.4.1.1.4.4'] = true,
}

local waiting = {}

local function settings()
  local given = GetOrthancConfiguration()['Lumbar'] or {}
  -- Never empty: Orthanc 1.10.1 takes an empty table for a list, and ends.
  local headers = { ['Accept'] = 'application/json' }
  if (given['TokenFile'] or '') ~= '' then
    local file = assert(io.open(given['TokenFile']))
    headers['Authorization'] = 'Bearer ' .. file:read('*l')
    file:close()
  end
  return {
    url = given['NodeUrl'] or 'http://127.0.0.1:8080',
    peer = given['Peer'] or 'orthanc',
    headers = headers,
  }
end

local function mr_images(study)
  local images = {}
  for _, series in ipairs(ParseJson(RestApiGet('/studies/' .. study .. '/series'))) do
    local first = series['Instances'][1]
    local class = RestApiGet('/instances/' .. first .. '/metadata/SopClassUid')
    if series['MainDicomTags']['Modality'] == 'MR' and class and MR_IMAGE[class] then
      for _, instance in ipairs(series['Instances']) do
        table.insert(images, instance)
      end
    end
  end
  table.sort(images)
  return images
end

-- A fingerprint of a set of images; equal sets have equal ones. Exact in doubles (below 2^53).
local function fingerprint(images)
  local sum = 0
  for character in table.concat(images):gmatch('.') do
    sum = (sum * 257 + character:byte()) % 4294967291
  end
  return #images .. '-' .. string.format('%.0f', sum)
end

local function answered(study)
  for _, name in ipairs(ParseJson(RestApiGet('/studies/' .. study .. '/metadata'))) do
    if name == '4201' or name == 'lumbar-answered' then
      return RestApiGet('/studies/' .. study .. ANSWERED)
    end
  end
  return ''
end

local function tell(study)
  local images = mr_images(study)
  local mark = fingerprint(images)
  if #images == 0 or answered(study) == mark then
    return true
  end
  local to = settings()
  local url = to.url .. '/api/orthanc/' .. to.peer .. '/studies/' .. study
  RestApiPut('/studies/' .. study .. STATE, 'sent')
  if HttpPost(url, '', to.headers) == nil then
    RestApiPut('/studies/' .. study .. STATE, 'queued: the node at ' .. to.url .. ' did not take it')
    return false
  end
  RestApiPut('/studies/' .. study .. ANSWERED, mark)
  return true
end

function OnStableStudy(studyId, tags, metadata)
  waiting[studyId] = true
  for study in pairs(waiting) do
    local is_done, told = pcall(tell, study)
    if not is_done then
      PrintRecursive('lumbar: study ' .. study .. ': ' .. tostring(told))
    end
    -- A study that cannot even be read has been deleted.
    if told or not is_done then
      waiting[study] = nil
    end
  end
end
