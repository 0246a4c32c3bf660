{{- define "lumbar.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lumbar.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "lumbar.image" -}}
{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ if .gpus }}-gpu{{ end }}
{{- end }}

{{- /* A pod of one role. Arguments: root, role, resources, gpus, ports and probe as YAML. */}}
{{- define "lumbar.pod" -}}
metadata:
  labels:
    {{- include "lumbar.selector" . | nindent 4 }}
  annotations:
    checksum/config: {{ .root.Values.config | sha256sum }}
spec:
  automountServiceAccountToken: false
  {{- with .root.Values.s3.serviceAccount }}
  serviceAccountName: {{ . }}
  {{- end }}
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .root.Values.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "lumbar.image" . }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [{{ .command }}]
      env:
        - name: LUMBAR_CONFIG
          value: /etc/lumbar-node/node.toml
        - name: LUMBAR_DATABASE_URL
          valueFrom: {secretKeyRef: {name: {{ .root.Values.secret }}, key: database-url}}
        - name: LUMBAR_WEB__TOKEN_FILE
          value: /run/secrets/lumbar-node/token
        {{- with .root.Values.s3 }}
        {{- if .url }}
        - {name: LUMBAR_STORAGE__URL, value: {{ .url | quote }}}
        - {name: LUMBAR_STORAGE__ENDPOINT, value: {{ .endpoint | quote }}}
        - {name: LUMBAR_STORAGE__REGION, value: {{ .region | quote }}}
        - name: LUMBAR_STORAGE__CACHE_MB
          value: {{ mul 1024 (max 1 (sub (trimSuffix "Gi" .cacheSize | int) 2)) | quote }}
        {{- if .secret }}
        - name: AWS_ACCESS_KEY_ID
          valueFrom: {secretKeyRef: {name: {{ .secret }}, key: access-key-id}}
        - name: AWS_SECRET_ACCESS_KEY
          valueFrom: {secretKeyRef: {name: {{ .secret }}, key: secret-access-key}}
        {{- end }}
        {{- end }}
        {{- end }}
      {{- with .ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .probe }}
      readinessProbe:
        {{- toYaml . | nindent 8 }}
      livenessProbe:
        {{- toYaml . | nindent 8 }}
        failureThreshold: 6
        periodSeconds: 20
      {{- end }}
      resources:
        {{- $limits := .resources.limits | default dict }}
        {{- if .gpus }}{{ $limits = merge (dict "nvidia.com/gpu" .gpus) $limits }}{{ end }}
        {{- toYaml (merge (dict "limits" $limits) .resources) | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
        - {name: config, mountPath: /etc/lumbar-node/node.toml, subPath: node.toml, readOnly: true}
        - {name: secret, mountPath: /run/secrets/lumbar-node, readOnly: true}
        {{- if .root.Values.filesSecret }}
        - {name: files, mountPath: /etc/lumbar-node/files, readOnly: true}
        {{- end }}
  volumes:
    - name: data
      {{- if .root.Values.s3.url }}
      emptyDir: {sizeLimit: {{ .root.Values.s3.cacheSize }}}
      {{- else }}
      persistentVolumeClaim:
        claimName: {{ .root.Values.storage.existingClaim | default .root.Release.Name }}
      {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    - name: config
      configMap: {name: {{ .root.Release.Name }}}
    - name: secret
      secret: {secretName: {{ .root.Values.secret }}, items: [{key: token, path: token}], defaultMode: 288}
    {{- with .root.Values.filesSecret }}
    - name: files
      secret: {secretName: {{ . }}, defaultMode: 288}
    {{- end }}
{{- end }}
